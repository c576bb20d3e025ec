#!/usr/bin/env bash
# Builds the image and writes the Flex Template:
#
#     BUCKET=my-bucket templates/build.sh
#     DRY_RUN=1 BUCKET=my-bucket PROJECT=my-project templates/build.sh    # says what it would do
#
# Settings, by environment variables:
#
#     PROJECT         the Google Cloud project             [gcloud's own: gcloud config set project …]
#     BUCKET          where the template is written, and the sources are staged        (required)
#     REGION          where the repository of images is, and the build runs            [us-central1]
#     REPOSITORY      the repository in Artifact Registry                              [finecut]
#     TAG             of the image            [the commit, or the time where something is not committed]
#     IMAGE           the whole name of the image, instead of REGION, REPOSITORY and TAG
#     COMMAND         dedup, shard, …: the template of that command, instead of curate's    [none]
#     TEMPLATE        the file to write [gs://BUCKET/templates/finecut.json, or finecut-COMMAND.json]
#     LOCAL           1: build with docker here and push, instead of in Cloud Build
#     MACHINE         of Cloud Build                                                   [e2-highcpu-8]
#     RUN_AS          the user in the image: 0, or 10001 (see the Dockerfile)          [0]
#     PYTHON_IMAGE, LAUNCHER_IMAGE, TORCH_INDEX, TORCH_CUDA     as in the Dockerfile, if given
#     SKIP_IMAGE      1: the image is there already, write the template only
#     DRY_RUN         1: print the commands and run none of them
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'build.sh: %s\n' "$*" >&2; }
fail() { say "$*"; exit 2; }
on() { [[ -n ${!1:-} && ${!1} != 0 ]]; }

# A command as it could be typed.
show() {
    printf '+' >&2
    printf ' %q' "$@" >&2
    printf '\n' >&2
}

run() {
    show "$@"
    on DRY_RUN || "$@"
}

needed() {
    command -v "$1" >/dev/null || fail "no program called $1 is on the PATH. $2"
}

REGION=${REGION:-us-central1}
REPOSITORY=${REPOSITORY:-finecut}
MACHINE=${MACHINE:-e2-highcpu-8}
COMMAND=${COMMAND:-}
METADATA=templates/metadata${COMMAND:+/$COMMAND}.json
[[ $COMMAND != */* && -e $METADATA ]] ||
    fail "COMMAND=$COMMAND has no template: those that have one are in templates/metadata/"
RUN_AS=${RUN_AS:-0}

needed python3 'It fills in the template: apt install python3'
if ! on DRY_RUN; then
    needed gcloud 'Install the Google Cloud CLI: https://cloud.google.com/sdk/docs/install'
    ! on LOCAL || needed docker 'Install Docker, or leave LOCAL out to build in Cloud Build'
fi
[[ -n ${BUCKET:-} || -n ${TEMPLATE:-} ]] ||
    fail 'BUCKET is not set: name the bucket that holds the template, BUCKET=my-bucket templates/build.sh'
if [[ -z ${PROJECT:-} ]] && command -v gcloud >/dev/null; then
    show gcloud config get-value project
    PROJECT=$(gcloud config get-value project 2>/dev/null || true)
fi
[[ -n ${PROJECT:-} && ${PROJECT:-} != '(unset)' ]] ||
    fail 'PROJECT is not set: name the Google Cloud project, PROJECT=my-project templates/build.sh'
BUCKET=${BUCKET:-}
BUCKET=${BUCKET#gs://}
BUCKET=${BUCKET%/}
TEMPLATE=${TEMPLATE:-gs://$BUCKET/templates/finecut${COMMAND:+-$COMMAND}.json}
[[ $TEMPLATE == gs://*/*.json ]] ||
    fail "TEMPLATE=$TEMPLATE is no file in a bucket: write gs://my-bucket/templates/finecut.json"

# A tag that says what is in it. What is not committed has no such name.
if [[ -z ${TAG:-} ]]; then
    if commit=$(git rev-parse --short=12 HEAD 2>/dev/null) && [[ -z $(git status --porcelain) ]]; then
        TAG=$commit
    else
        TAG=$(date -u +%Y%m%d-%H%M%S)
    fi
fi
IMAGE=${IMAGE:-$REGION-docker.pkg.dev/$PROJECT/$REPOSITORY/finecut:$TAG}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

arguments=(--build-arg "RUN_AS=$RUN_AS")
for name in PYTHON_IMAGE LAUNCHER_IMAGE TORCH_INDEX TORCH_CUDA; do
    [[ -z ${!name:-} ]] || arguments+=(--build-arg "$name=${!name}")
done
build=(build --file templates/Dockerfile "${arguments[@]}" --tag "$IMAGE" .)

# What Cloud Build is told: JSON, which it reads as well as YAML.
config() {
    python3 - "$IMAGE" "${build[@]}" <<'PYTHON'
import json
import sys

image, *build = sys.argv[1:]
told = {
    "steps": [{"name": "gcr.io/cloud-builders/docker", "args": build}],
    "images": [image],
    # torch for CUDA and what comes with it: some gigabytes to fetch, unpack and push.
    "timeout": "5400s",
    "options": {"diskSizeGb": 100},
}
print(json.dumps(told, indent=2))
PYTHON
}

# templates/spec.json with the image and the metadata in their places.
spec() {
    python3 - "$IMAGE" "$METADATA" <<'PYTHON'
import json
import sys
from pathlib import Path

text = Path("templates/spec.json").read_text(encoding="utf-8").replace("IMAGE", sys.argv[1])
spec = json.loads(text)
spec["metadata"] = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
# No command but curate has models to run.
if sys.argv[2] != "templates/metadata.json":
    spec["defaultEnvironment"]["machineType"] = "n1-standard-4"
print(json.dumps(spec, indent=2, ensure_ascii=False))
PYTHON
}

if on SKIP_IMAGE; then
    say "taking $IMAGE as it is"
elif on LOCAL; then
    run docker "${build[@]}"
    run docker push "$IMAGE"
else
    config >"$scratch/cloudbuild.json"
    ! on DRY_RUN || sed 's/^/    /' "$scratch/cloudbuild.json" >&2
    run gcloud builds submit . \
        --project "$PROJECT" --region "$REGION" --machine-type "$MACHINE" \
        --ignore-file .dockerignore --config "$scratch/cloudbuild.json"
fi

# gcloud checks the metadata, and knows how such a file is written. But it has no flags for options of
# the pipeline, without which a job started from the console would have workers with Beam's own image
# and small disks: so its file is replaced by templates/spec.json, filled in.
run gcloud dataflow flex-template build "$TEMPLATE" \
    --project "$PROJECT" --image "$IMAGE" --sdk-language PYTHON \
    --metadata-file "$METADATA"
spec >"$scratch/finecut.json"
run gcloud storage cp "$scratch/finecut.json" "$TEMPLATE" --project "$PROJECT"

say "the template is $TEMPLATE, its image $IMAGE"
told='input=gs://… output=gs://…'
[[ -z $COMMAND ]] || told='dataset=gs://… …'
say "next: ${COMMAND:+COMMAND=$COMMAND }BUCKET=${BUCKET:-my-bucket} TEMPLATE=$TEMPLATE IMAGE=$IMAGE templates/launch.sh $told"
