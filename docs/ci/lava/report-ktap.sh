#!/bin/sh
# Reports each test of a KTAP document on stdin as a LAVA test case. The tests are the results that
# are nested one level deep; those around them are the suites.
sed -n 's/^  \(ok\|not ok\) [0-9]* \([^ #]*\)\(.*\)$/\1:\2:\3/p' | while IFS=: read -r verdict id rest; do
  case "$verdict $rest" in
    *'# SKIP'*) result=skip ;;
    'ok '*) result=pass ;;
    *) result=fail ;;
  esac
  lava-test-case "$id" --result "$result"
done
