"""Reasons why an operator is not rounded to integers, which reports tell apart."""

KEPT_BY_GUARD = "kept in float by the accuracy guard"
KEPT_AS_ASKED = "kept in float as asked"
IN_LOOP = "in a loop, which is not quantized"
IN_REGISTERS = "in the registers of its anchor"
