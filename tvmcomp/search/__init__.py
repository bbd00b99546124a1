"""From a trained network and a goal on a device to the artifact that reaches it.

    measure costs and harms -> choose jointly -> try whole networks -> correct the tables, choose
    again -> distil the best few -> judge on samples that no choice used

:func:`tvmcomp.search.search.search` is the way in.
"""
