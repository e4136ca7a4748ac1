"""Sweeps: a study's plan, its folder, what its runs are doing, and the engines that run them."""
