"""The API described: the OpenAPI document and a page that shows it without the internet."""
