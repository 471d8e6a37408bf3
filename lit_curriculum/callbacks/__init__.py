"""Lightning callbacks that watch a curriculum: monitor, ledger, run card, abilities and logs."""
