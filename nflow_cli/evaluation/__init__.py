"""How good a fit is: scores, mass, importance sampling, checks of a flow."""
