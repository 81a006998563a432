#!/bin/sh
# Runs in the guest, as root, with the host's checkout unpacked in /checkout: does what the host wants, and hands back /checkout/out.
cd /checkout
mkdir out
export CI=true PATH=/opt/harness/bin:$PATH
# The command `harness`, as `pip install --editable` would make it.
echo /checkout >"$(echo /opt/harness/lib/python3*/site-packages)/harness.pth"
printf '#!/opt/harness/bin/python\nfrom harness.cli import main\nif __name__ == "__main__":\n    main()\n' >/opt/harness/bin/harness
chmod 755 /opt/harness/bin/harness
sh ./command >out/log 2>&1
status=$?
tar -cf /dev/vdc -C out .
sync
echo "guest ended with status $status"
