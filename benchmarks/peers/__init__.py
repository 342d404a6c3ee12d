"""molsig beside its peers, on the same vectors, in the same run; see `benchmarks.peers.__main__`."""
