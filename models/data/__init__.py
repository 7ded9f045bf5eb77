"""Training data: folders of audio, and the packets that a box would have seen of them."""
