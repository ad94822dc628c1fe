"""One function per job that a user can name; operators, SDK and command line all call these."""
