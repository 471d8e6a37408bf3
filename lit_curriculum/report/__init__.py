"""What runs have left on disk, read and shown: ledger, figures, tables, the page. Imports no torch."""
