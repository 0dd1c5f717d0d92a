"""TensorFlow's messages and ops for a process that has not imported TensorFlow, which takes seconds and 500 MB.

Once it has, TensorFlow's own classes and registry are given: its functions take no others, and op libraries may have
added to the registry. `testdata/generate/make_schema.py` makes the files that stand here from the installed TensorFlow;
a test holds them against it.
"""
