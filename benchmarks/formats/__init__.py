"""Networks that come in other formats and of other kinds than convolutional ones, judged."""
