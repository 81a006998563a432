# usage: ask.sh [WHAT]      Asks the service, prints its answer; fails when it is gone.
cd /run/known || exit
rm -f answer
echo "$1" >ask
until test -e answer; do
    test -e ask || exit 3
    sleep 0.01
done
cat answer
