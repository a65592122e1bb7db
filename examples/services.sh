#!/bin/sh
# What the configurations here run in front of: sample services, each of which says who it is, and some requests to the gateway.
#     examples/services.sh                 in one terminal; Ctrl-C ends all of it
#     headgate run examples/canary.yaml    in another
# PYTHON is one that has Headgate, PORT the gateway's port.
set -eu
python=${PYTHON:-.venv/bin/python}

trap 'trap - INT TERM EXIT; kill $services 2>/dev/null; exit' INT TERM EXIT
services=
# As `name port`; blue runs on three ports, for examples/rolling.yaml.
while read -r name port; do
    "$python" -m admin.demo.service "$name" --port "$port" </dev/null &
    services="$services $!"
    echo "$name: http://127.0.0.1:$port, process $!"
done <<SERVICES
blue 9001
blue 9011
blue 9012
green 9002
canary 9003
next 9004
SERVICES

while :; do
    curl --silent --output /dev/null "http://127.0.0.1:${PORT:-8080}/api/products" || sleep 1
    sleep 0.03
done
