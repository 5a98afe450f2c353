"""The description of the client port: ``/openapi.json`` (OpenAPI 3.1) and ``/docs``, the same as a page.

Each API has a module here with its ``TAG``, ``OPERATIONS`` and ``SCHEMAS``; ``document`` puts them together. To describe
another one, write its module and name it in ``document.APIS``: a test compares the operations with the routes of the
application, and real replies with the schemas.

Invariant: everything is said once, in Python values; the document, the page and the tests are made of these.
"""

from .document import document
from .serve import add_routes

__all__ = ["add_routes", "document"]
