"""The program as a library, and what its commands share: from settings to a request, and to the endpoint."""
