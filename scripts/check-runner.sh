#!/usr/bin/env bash
# Runs the tests of a crate if scripts/check.sh has named it.
case " $MEMBOX_CHECK " in
*" $CARGO_PKG_NAME "*) exec "$@" ;;
esac
