"""Experiments: one folder each, here or in a folder ``experiments`` anywhere on the Python path."""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)
