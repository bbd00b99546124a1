"""TIR passes of code generation."""
