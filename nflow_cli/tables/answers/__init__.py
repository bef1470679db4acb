"""What is asked of a trained table: predictions, imputations, explanations, drift, audits."""
