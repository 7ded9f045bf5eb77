"""The box: the processes that play with a peer, and the one that looks after them."""
