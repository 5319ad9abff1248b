"""Evaluations of the property models and of labels, and the pages and figures made from them."""
