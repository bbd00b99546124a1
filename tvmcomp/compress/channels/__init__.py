"""Channels that are cut together, what each is worth, and how many of them to keep.

groups      which channels of which tensors stay or go together, and what can't be cut
cut, mask   a network without some channels, or one in which they read as zero
importance  what is lost by a channel, from samples
choice      how many channels each group keeps, by what they harm and the time they take
repair      weights anew for what reads fewer channels
"""
