#!/bin/sh
# Deploys by a rollout, and says how it went: deploy.sh [--restore] ROUTE [REASON]
#     0  promoted
#     2  cut back
#     3  nothing was started: refused, or a mistake in the call
#     4  aborted (by a person, by a change of the route, with this script), or the gateway is gone
# --restore ends the cutback of the rollout before. It is not done by itself: somebody has to have looked.
# HEADGATE_ADMIN and HEADGATE_TOKEN (role operator), or HEADGATE_STATE, say where the gateway is.
set -eu

restore=no
[ "${1:-}" != --restore ] || { restore=yes && shift; }
[ $# -ge 1 ] || { echo "usage: deploy.sh [--restore] ROUTE [REASON]" >&2 && exit 3; }
route=$1 reason=${2:-deployment}

[ $restore = no ] || headgate restore "$route" --reason "$reason" || exit 3
headgate rollout start "$route" --reason "$reason" || exit 3

# A watcher that ends leaves the rollout as it is. Who cancels the pipeline wants the traffic back.
headgate rollout status "$route" --watch &
watcher=$!
trap 'kill $watcher; headgate rollout abort "$route" --reason "the pipeline was cancelled"; exit 4' INT TERM
status=0
wait $watcher || status=$?
trap - INT TERM

case $status in
0 | 2) ;;
*) status=4 ;;
esac
[ $status = 0 ] || headgate rollout status "$route" || true
exit $status
