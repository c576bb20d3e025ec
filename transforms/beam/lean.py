"""Import this first, and Beam comes without what a local run never asks it for.

Beam imports what it can be connected to, where it is installed: pandas for data frames, and
Google's clients for its own file system (ours is ``io/gcs``), BigQuery, Pub/Sub and Dataflow. That
is half of the time until the first film is opened, and a third of the memory of each process.
Whoever wants pandas for himself imports it afterwards as ever; Beam itself does without all these
for as long as the process lives. So this is for processes that are ours alone: commands that work
on this machine. Not for one that hands jobs over to a cluster, not where steps of one's own may use
all that Beam has, and not for a program that calls us.
"""

from finecut.transforms.beam.without import without

UNUSED = ("pandas", "apache_beam.io.gcp", "google.cloud.dataflow")

with without(*UNUSED):
    import apache_beam  # noqa: F401
