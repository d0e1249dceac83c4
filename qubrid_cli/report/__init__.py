"""Reports: the results of batches as a page, a table or a document."""
