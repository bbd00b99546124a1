"""What each precision costs in accuracy, beside other quantizers."""
