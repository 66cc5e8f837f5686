"""The HTTP interface, one module per noun. Handlers translate; the rooms behind them decide."""
