#!/bin/sh
# Executes `vfio-conformance run …`, which are its arguments, and reports each test as a LAVA test case
# as soon as it has ended: what is reported stays if the board dies. The run itself is the case `vfio-run`;
# if it could not do its work, the job is incomplete. No --quiet: the lines of the tests are needed.
status=$(mktemp)
reported=$(mktemp)

{
  "$@" 2>&1
  echo $? >"$status"
} | while IFS= read -r line; do
  printf '%s\n' "$line"
  # [ 12/345] pass    container.map-dma.overlap (12 ms)
  case $line in '['*/*'] '*) ;; *) continue ;; esac
  read -r verdict id _ <<LINE
${line#*] }
LINE
  case $verdict in
    pass | xfail) result=pass ;;
    skip) result=skip ;;
    fail | xpass | error | crash | timeout) result=fail ;;
    *) continue ;;
  esac
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
