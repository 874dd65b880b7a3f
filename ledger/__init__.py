"""Points Ledger: a book of record for partner-programme points that can explain itself."""
