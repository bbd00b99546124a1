"""Loops over time that are a recurrent layer, written out -> LSTM, GRU or RNN."""
