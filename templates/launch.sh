#!/usr/bin/env bash
# Launches the Flex Template, in the first region that has machines for it:
#
#     BUCKET=my-bucket IMAGE=…/finecut:tag templates/launch.sh \
#         input=gs://my-bucket/films output=gs://my-bucket/dataset generate_previews=true
#
# Arguments are finecut's options as name=value, by the names in templates/metadata.json: with _ for -,
# switches as true or false, several values with commas between. Settings, by environment variables:
#
#     PROJECT              the Google Cloud project        [gcloud's own: gcloud config set project …]
#     BUCKET               for the files of the job                                     (required)
#     IMAGE                what build.sh built, for the workers                         (required)
#     COMMAND              dedup, shard, … instead of curate: each has a template (build.sh) [none]
#     TEMPLATE             what build.sh wrote              [gs://BUCKET/templates/finecut.json, or
#                                                            finecut-COMMAND.json]
#     REGIONS              where to try, in this order      [us-central1 us-east4 us-east1 us-west1]
#     NAME                 of the job                                         [finecut-DATE-TIME]
#     SERVICE_ACCOUNT      the workers' (an address)        [the project's default: better give one]
#     MACHINE              type of the workers         [g2-standard-8; with COMMAND n1-standard-4]
#     WORKERS, MAX_WORKERS at the start, and at most                            [1, 10]
#     AUTOSCALING          THROUGHPUT_BASED, or NONE: always WORKERS            [THROUGHPUT_BASED]
#     DISK_GB              of each worker: the image, fetched models, scratch   [200]
#     THREADS              of each worker process, of which there is one a core [2]
#     LAUNCHER_MACHINE     type of the launcher                                 [n1-standard-2]
#     MPS                  1: NVIDIA's multi-process service on the workers     [0]
#     NETWORK, SUBNETWORK  REGION in it stands for the region that is tried     [the default network]
#     PRIVATE_IPS          1: workers without addresses of their own            [0]
#     EXPERIMENTS          more of Beam's, with commas between                  [none]
#     WAIT_MINUTES         how long to watch for the first worker; 0: not at all        [30]
#     SHORTAGE_MINUTES     how long a job may go on without one when machines are short [5]
#     DRY_RUN              1: print the commands and run none of them
#
# How a region is found to have no machines. Launching is accepted almost everywhere: that there are
# no GPUs, or no quota for them, is known minutes later, when Dataflow fails to start workers. So the
# job's state and messages are read until workers have started. The next region is tried when
#   * the call is refused, or the job fails, with words of quota or of machines that are not there, or
#   * its messages have such words, and no worker has started SHORTAGE_MINUTES later: then the job
#     is cancelled first, and its end is waited for, so that no two do the same work.
# Whatever else goes wrong would go wrong in the next region as well, and ends this. The words are those
# that Google documents and others have reported; a new wording is not recognised, and then the
# messages are shown and nothing is tried again.
#
# Exit codes: 0 launched (and seen to start, if it was watched); 1 it failed; 2 the settings or
# options are wrong; 3 no region has machines; 4 nothing was heard within WAIT_MINUTES, the job goes on.
set -Eeuo pipefail
ROOMS=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
METADATA=$ROOMS/templates/metadata.json
COMMAND=${COMMAND:-}

say() { printf 'launch.sh: %s\n' "$*" >&2; }
fail() { say "$*"; exit 2; }
on() { [[ -n ${!1:-} && ${!1} != 0 ]]; }

show() {
    printf '+' >&2
    printf ' %q' "$@" >&2
    printf '\n' >&2
}

needed() {
    command -v "$1" >/dev/null || fail "no program called $1 is on the PATH. $2"
}

number() {
    [[ ${!1} =~ ^[0-9]+$ ]] || fail "$1=${!1} is no whole number"
}

joined() {
    local delimiter=$1 first=$2
    shift 2
    printf '%s' "$first" "${@/#/$delimiter}"
}

# Commas separate what gcloud is given as a list, unless ^X^ in front says that X does. X must not
# be in any of the values.
escaped() {
    local delimiter
    for delimiter in ',' '|' '~' '#' ';' '@@' '%%' '||~~||'; do
        if [[ "$*" != *"$delimiter"* ]]; then
            [[ $delimiter == ',' ]] || printf '^%s^' "$delimiter"
            joined "$delimiter" "$@"
            return
        fi
    done
    fail 'the values hold every character that could separate them: leave out one of , | ~ # ;'
}

[[ ${1:-} != -h && ${1:-} != --help ]] || { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit 0; }

if [[ -n $COMMAND ]]; then
    METADATA=$ROOMS/templates/metadata/$COMMAND.json
    [[ $COMMAND != */* && -e $METADATA ]] ||
        fail "COMMAND=$COMMAND has no template: those that have one are in templates/metadata/"
    set -- "command=$COMMAND" "$@"
    MACHINE=${MACHINE:-n1-standard-4}
fi
MACHINE=${MACHINE:-g2-standard-8}
WORKERS=${WORKERS:-1}
MAX_WORKERS=${MAX_WORKERS:-10}
AUTOSCALING=${AUTOSCALING:-THROUGHPUT_BASED}
DISK_GB=${DISK_GB:-200}
THREADS=${THREADS:-2}
LAUNCHER_MACHINE=${LAUNCHER_MACHINE:-n1-standard-2}
WAIT_MINUTES=${WAIT_MINUTES:-30}
SHORTAGE_MINUTES=${SHORTAGE_MINUTES:-5}
POLL_SECONDS=${POLL_SECONDS:-20}
NAME=${NAME:-finecut-$(date -u +%Y%m%d-%H%M%S)}
read -ra REGIONS <<<"${REGIONS:-us-central1 us-east4 us-east1 us-west1}"

needed python3 'It reads the metadata: apt install python3'
on DRY_RUN || needed gcloud 'Install the Google Cloud CLI: https://cloud.google.com/sdk/docs/install'
[[ -n ${BUCKET:-} ]] ||
    fail 'BUCKET is not set: name the bucket for the files of the job, BUCKET=my-bucket templates/launch.sh …'
BUCKET=${BUCKET#gs://}
BUCKET=${BUCKET%/}
[[ -n ${IMAGE:-} ]] ||
    fail 'IMAGE is not set: name the image that build.sh built (its last line says it), IMAGE=…/finecut:tag'
if [[ -z ${PROJECT:-} ]] && command -v gcloud >/dev/null; then
    show gcloud config get-value project
    PROJECT=$(gcloud config get-value project 2>/dev/null || true)
fi
[[ -n ${PROJECT:-} && ${PROJECT:-} != '(unset)' ]] ||
    fail 'PROJECT is not set: name the Google Cloud project, PROJECT=my-project templates/launch.sh …'
TEMPLATE=${TEMPLATE:-gs://$BUCKET/templates/finecut${COMMAND:+-$COMMAND}.json}
for setting in WORKERS MAX_WORKERS DISK_GB THREADS WAIT_MINUTES SHORTAGE_MINUTES POLL_SECONDS; do
    number "$setting"
done
((WORKERS >= 1 && WORKERS <= MAX_WORKERS)) ||
    fail "WORKERS=$WORKERS: write a number from 1 to MAX_WORKERS, which is $MAX_WORKERS"
[[ $AUTOSCALING == THROUGHPUT_BASED || $AUTOSCALING == NONE ]] ||
    fail "AUTOSCALING=$AUTOSCALING: write THROUGHPUT_BASED or NONE"
[[ $NAME =~ ^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$ ]] ||
    fail "NAME=$NAME: a job's name is small letters, digits and dashes, begins with a letter, at most 40"
((${#REGIONS[@]})) || fail 'REGIONS is empty: write at least one, REGIONS=us-central1'

# What the service would say minutes later, or never.
python3 - "$METADATA" "$@" <<'PYTHON' || exit 2
import difflib
import json
import re
import sys
from pathlib import Path


def wrong(sentence: str) -> None:
    sys.exit(f"launch.sh: {sentence}")


metadata, *arguments = sys.argv[1:]
told = {p["name"]: p for p in json.loads(Path(metadata).read_text("utf-8"))["parameters"]}
given = set()
for argument in arguments:
    name, equals, value = argument.partition("=")
    if not equals:
        wrong(f"{argument} is not name=value: write {name.lstrip('-').replace('-', '_')}=…")
    if name not in told:
        meant = difflib.get_close_matches(name.lstrip("-").replace("-", "_"), told, 1)
        hint = f"did you mean {meant[0]}?" if meant else "the names stand in templates/metadata.json"
        wrong(f"{name} is no option of the template: {hint}")
    if name in given:
        wrong(f"{name} is given twice: several values are separated by commas")
    given.add(name)
    parameter = told[name]
    if not value:
        continue
    if parameter.get("paramType") == "BOOLEAN" and value.lower() not in ("true", "false"):
        wrong(f"{argument}: write {name}=true or {name}=false")
    choices = [option["value"] for option in parameter.get("enumOptions", [])]
    if choices and value not in choices:
        wrong(f"{argument}: write one of {', '.join(choices)}")
    for pattern in parameter.get("regexes", []):
        if not re.fullmatch(pattern, value):
            wrong(f"{argument} does not look as the template wants it: {pattern}")
missing = [name for name, p in told.items() if not p.get("isOptional") and name not in given]
if missing:
    wrong(f"{' and '.join(f'{name}=…' for name in missing)} must be given")
PYTHON

accelerator=nvidia-l4 streams='' right_fitting=''
for argument in "$@"; do
    case $argument in
        accelerator=?*) accelerator=${argument#*=} ;;
        subscription=?*) streams=1 ;;
        right_fitting=[Tt][Rr][Uu][Ee]) right_fitting=1 ;;
    esac
done
if [[ -n $right_fitting && $MACHINE =~ ^(g|a)[0-9] ]]; then
    say "note: every $MACHINE has a GPU, so with right_fitting films are cut on GPU machines as well." \
        'MACHINE=n1-standard-8 with accelerator=nvidia-tesla-t4 keeps them apart (templates/README.md)'
fi

# What gcloud has no flags for goes along with the parameters, as in Google's own examples. It is said
# a second time as options of the pipeline: those take the place of the template's own list, which
# might say otherwise.
own=(
    "sdk_container_image=$IMAGE"
    "disk_size_gb=$DISK_GB"
    "number_of_worker_harness_threads=$THREADS"
)
parameters=("$@" "${own[@]}" "autoscaling_algorithm=$AUTOSCALING")
experiments=(use_runner_v2)
# Hints of resources are heard in streaming jobs only with this.
[[ -z $streams ]] || experiments+=(enable_streaming_rightfitting)
if [[ -n ${EXPERIMENTS:-} ]]; then
    IFS=, read -ra more <<<"$EXPERIMENTS"
    experiments+=("${more[@]}")
fi
if on MPS; then
    say 'note: Google documents MPS for worker_accelerator only, and not to combine that with the hints' \
        'that steps with a GPU carry here: if the job is refused, leave MPS out'
    driver='install-nvidia-driver:5xx;use_nvidia_mps'
    parameters+=("dataflow_service_options=worker_accelerator=type:$accelerator;count:1;$driver")
fi

listed_experiments=$(escaped "${experiments[@]}")
listed_own=$(escaped "${own[@]}")
listed_parameters=$(escaped "${parameters[@]}")

# The command for a region.
launching() {
    local region=$1
    command=(
        gcloud dataflow flex-template run "$NAME"
        --project "$PROJECT" --region "$region"
        --template-file-gcs-location "$TEMPLATE"
        --staging-location "gs://$BUCKET/staging" --temp-location "gs://$BUCKET/temp"
        --worker-machine-type "$MACHINE" --launcher-machine-type "$LAUNCHER_MACHINE"
        --num-workers "$WORKERS" --max-workers "$MAX_WORKERS"
        --additional-experiments "$listed_experiments"
        --additional-pipeline-options "$listed_own"
        --parameters "$listed_parameters"
    )
    [[ -z ${SERVICE_ACCOUNT:-} ]] || command+=(--service-account-email "$SERVICE_ACCOUNT")
    [[ -z ${NETWORK:-} ]] || command+=(--network "$NETWORK")
    [[ -z ${SUBNETWORK:-} ]] || command+=(--subnetwork "${SUBNETWORK//REGION/$region}")
    ! on PRIVATE_IPS || command+=(--disable-public-ips)
    [[ -z $streams ]] || command+=(--enable-streaming-engine)
    command+=(--format 'value(job.id)')
}

# What is read while waiting.
state=() messages=()
watching() {
    local region=$1 job=$2
    state=(
        gcloud dataflow jobs describe "$job" --project "$PROJECT" --region "$region"
        --format 'value(currentState)'
    )
    messages=(
        gcloud logging read --project "$PROJECT" --limit 200 --format 'value(textPayload)'
        "resource.type=\"dataflow_step\" AND resource.labels.job_id=\"$job\" AND logName:\"job-message\""
    )
    cancelling=(gcloud dataflow jobs cancel "$job" --project "$PROJECT" --region "$region")
}

STARTED='Workers have started successfully|Raised the number of workers to [1-9]'
SHORT='RESOURCE_POOL_EXHAUSTED|does not have enough resources available|is currently unavailable in the'
SHORT+='|QUOTA_EXCEEDED|RESOURCE_EXHAUSTED|[Qq]uota .*(exceeded|check)|[Ii]nsufficient .*quota'
SHORT+='|([Aa]ccelerator|[Mm]achine) ?[Tt]ype.*(not (found|exist|available|supported)|does not exist)'

# 0: workers have started; 1: it failed; 3: machines are short here; 4: nothing was heard.
watch_job() {
    local region=$1 job=$2 now said='' end short_since=0 deaf=''
    watching "$region" "$job"
    show "${state[@]}"
    show "${messages[@]}"
    end=$((SECONDS + WAIT_MINUTES * 60))
    while :; do
        now=$("${state[@]}" 2>/dev/null || true)
        if ! said=$("${messages[@]}" 2>"$errors") && [[ -z $deaf ]]; then
            deaf=1
            say "the job's messages cannot be read (roles/logging.viewer?): $(head -n 1 "$errors")"
        fi
        if [[ $now == JOB_STATE_DONE ]] || grep -Eq "$STARTED" <<<"$said"; then
            return 0
        fi
        case $now in
            JOB_STATE_FAILED | JOB_STATE_CANCELLED)
                ! grep -Eq "$SHORT" <<<"$said" || return 3
                say "the job ended as $now. Its messages, the newest first:"
                head -n 40 <<<"$said" >&2
                return 1
                ;;
        esac
        if ((!short_since)) && grep -Eq "$SHORT" <<<"$said"; then
            short_since=$((SECONDS + 1))
            say "$region is short of machines: $(grep -Em1 "$SHORT" <<<"$said")"
        fi
        if ((short_since && SECONDS + 1 - short_since >= SHORTAGE_MINUTES * 60)); then
            cancel || return 1
            return 3
        fi
        ((SECONDS < end)) || return 4
        sleep "$POLL_SECONDS"
    done
}

# Two jobs with one output would do the same work twice, so the first has to be over.
cancel() {
    local end=$((SECONDS + 900)) now
    show "${cancelling[@]}"
    "${cancelling[@]}" >&2 || true
    while ((SECONDS < end)); do
        now=$("${state[@]}" 2>/dev/null || true)
        case $now in JOB_STATE_CANCELLED | JOB_STATE_FAILED | JOB_STATE_DONE) return 0 ;; esac
        sleep "$POLL_SECONDS"
    done
    say 'the job does not end, so no other one is launched: cancel it in the console, and try again'
    return 1
}

errors=$(mktemp)
trap 'rm -f "$errors"' EXIT

for region in "${REGIONS[@]}"; do
    launching "$region"
    show "${command[@]}"
    if on DRY_RUN; then
        if ((WAIT_MINUTES)); then
            watching "$region" JOB_ID
            show "${state[@]}"
            show "${messages[@]}"
        fi
        continue
    fi
    if ! job=$("${command[@]}" 2>"$errors"); then
        cat "$errors" >&2
        grep -Eq "$SHORT" "$errors" || exit 1
        say "$region refused it for lack of machines or quota"
        continue
    fi
    say "launched $NAME in $region: https://console.cloud.google.com/dataflow/jobs/$region/$job?project=$PROJECT"
    if ((!WAIT_MINUTES)); then
        printf '%s\n' "$job"
        exit 0
    fi
    heard=0
    watch_job "$region" "$job" || heard=$?
    case $heard in
        0) say 'its workers have started'; printf '%s\n' "$job"; exit 0 ;;
        3) say "no machines in $region" ;;
        4)
            say "no worker has been seen within $WAIT_MINUTES minutes, and no reason: the job goes on"
            printf '%s\n' "$job"
            exit 4
            ;;
        *) exit 1 ;;
    esac
done

if ! on DRY_RUN; then
    say "none of ${REGIONS[*]} has machines: try other REGIONS, another accelerator=…, or later"
    exit 3
fi
