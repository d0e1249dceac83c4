"""The program as a Python library, and what commands share with it: building a request, and opening the endpoint."""
