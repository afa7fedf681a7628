#!/bin/sh
# Executes `vfio-conformance run … --ktap`, which are its arguments, and reports each test of the KTAP as a LAVA
# test case as soon as it has ended: what is reported stays if the board dies. The run itself is the case
# `vfio-run`; if it could not do its work, the job is incomplete.
status=$(mktemp)
reported=$(mktemp)

{
  "$@"
  echo $? >"$status"
} | while IFS= read -r line; do
  printf '%s\n' "$line"
  # ok 12 container.map-dma.overlap # SKIP why
  case $line in
    'not ok '*) result=fail ;;
    'ok '*'# SKIP'*) result=skip ;;
    'ok '*) result=pass ;;
    *) continue ;;
  esac
  read -r _ id _ <<LINE
${line#*ok }
LINE
  lava-test-case "$id" --result $result </dev/null
  echo "$id" >>"$reported"
done

code=$(cat "$status")
if [ "$code" = 0 ] && [ -s "$reported" ]; then result=pass; else result=fail; fi
lava-test-case vfio-run --result $result
if [ "$code" -ge 2 ]; then
  lava-test-raise "the run ended with exit code $code"
elif ! [ -s "$reported" ]; then
  lava-test-raise "no test has a result"
fi
