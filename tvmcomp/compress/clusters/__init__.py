"""Clusters: the weights of a layer take few values, which a code book holds."""
