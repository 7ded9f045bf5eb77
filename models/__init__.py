"""Neural networks: training, evaluation, restoration. The only folder that may import torch, besides convert."""
