"""Torch to ONNX to int8 TFLite."""
