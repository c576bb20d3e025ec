"""Import this first, and Beam comes without what a local run never asks it for.

Beam imports what it can be connected to, where it is installed: pandas for data frames, and
Google's clients for its own file system (ours is ``io/gcs``), BigQuery, Pub/Sub and Dataflow. That
is half of the time until the first film is opened, and a third of the memory of each process.
Whoever wants one of them for himself imports it afterwards as ever.

Not for a process that hands jobs over to a cluster, and not where steps of one's own may use all
that Beam has.
"""

from finecut.transforms.without import without

UNUSED = ("pandas", "apache_beam.io.gcp", "google.cloud.dataflow")

with without(*UNUSED):
    import apache_beam  # noqa: F401
