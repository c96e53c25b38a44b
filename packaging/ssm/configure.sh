# The lines of the Command document that give an installed agent its join token; action and parameter are set before.
# Done again, it changes nothing; an agent that has its certificate is left alone.
set -u
umask 077
etc=${VEDETTE_ETC:-/etc/vedette} state=${VEDETTE_STATE:-/var/lib/vedette}
fail() { status=$1; shift; printf 'vedette: %s\n' "$*" >&2; exit "$status"; }
[ "$action" = Install ] || exit 0
[ -d "$etc" ] || fail 2 "$etc is missing: the package is not installed"
if [ -n "$(find "$state/identity" -name '*.pem' 2>/dev/null | head -n 1)" ]; then printf 'vedette: joined already\n'; exit 0; fi
command -v aws >/dev/null 2>&1 || fail 2 "the aws command line is needed to read the join token"
token=$(aws ssm get-parameter --region "${AWS_SSM_REGION_NAME:-${AWS_REGION:-us-east-1}}" --with-decryption --name "$parameter" --query Parameter.Value --output text) || fail 75 "no join token: the instance's role must allow ssm:GetParameter on $parameter, and kms:Decrypt"
case $token in vedette-join-*) ;; *) fail 2 "$parameter is no join token: vedette pki token create makes one" ;; esac
put() { cat >"$etc/$1.new" && mv -f "$etc/$1.new" "$etc/$1" && return 0; fail 75 "$etc/$1 cannot be written"; }
printf '%s\n' "$token" | put join-token || exit
if ! grep -q '^\[enrolment\]' "$etc/agent.toml" 2>/dev/null; then
    [ ! -e "$etc/agent.toml" ] || cp -p "$etc/agent.toml" "$etc/agent.toml.before" || fail 75 "$etc cannot be written"
    printf '[enrolment]\ntoken_file = "/etc/vedette/join-token"\n' | put agent.toml || exit
fi
[ ! -d /run/systemd/system ] || systemctl restart --no-block vedette-agent.service
printf 'vedette: configured\n'
