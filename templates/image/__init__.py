"""The image of ``templates/Dockerfile`` without a Docker engine: built, examined, put to work.

    make prism ─▶ boot ─▶ bases ─▶ build ─▶ examine ─▶ work

Needs root and Debian's ``buildah`` and ``debootstrap``. The bases are stand-ins: Debian's Python
for Python's own image, Beam's ``boot`` from its Go module, and a launcher that does what Google's
is documented to do. Everything that the Dockerfile itself does is real.
"""
