"""Side by side with peers: one module per topic, each prints ratios from one run in which peers and ours alternate."""
