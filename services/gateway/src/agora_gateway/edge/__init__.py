"""What every route shares: authentication, errors, bodies, headers, shapes."""
