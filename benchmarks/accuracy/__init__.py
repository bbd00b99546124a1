"""What the number formats cost in accuracy, beside other quantizers."""
