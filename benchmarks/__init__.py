"""Side by side with peers: one module a topic, each prints ratios from one run in which peers and ours alternate."""
