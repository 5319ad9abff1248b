"""The inputs of a build: files, their ids, and tables of properties.

names: what a file's name says. files: the files that inputs lead to. ids: the ids of files. tables: CSV to cells.
values: cells to values and headers to units. properties: columns by id.
"""

from .files import Found, find, find_files
from .ids import Names, check_id, file_name, id_of, ids_of
from .properties import Properties, read_properties

__all__ = [
    "Found",
    "Names",
    "Properties",
    "check_id",
    "file_name",
    "find",
    "find_files",
    "id_of",
    "ids_of",
    "read_properties",
]
