#!/usr/bin/env bash
# The first process of the node's namespaces; started by up.sh.
set -euo pipefail
bin=$PROGRAMS/bin
address=10.200.0.1
port=26443
services=10.0.0.0/24
rm -f "$FOLDER/ready"

hostname node1
mount --make-rprivate /
mount -t proc proc /proc
# A new /sys shows the devices of this network; the cgroups are mounted in it again.
mount --rbind /sys/fs/cgroup "$FOLDER/cgroup"
mount -t sysfs sysfs /sys
mount --rbind "$FOLDER/cgroup" /sys/fs/cgroup
umount -R -l "$FOLDER/cgroup"
mount --make-rshared /
mount -t tmpfs tmpfs /run
mkdir -p /run/lock /run/netns
mount --bind "$FOLDER/kubelet" /var/lib/kubelet
mount --make-shared /var/lib/kubelet
mount --bind "$FOLDER/podlogs" /var/log/pods
mount --bind "$FOLDER/containerlogs" /var/log/containers
# The kubelet requires these values. It sees them, but the machine keeps its own.
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1; do
  name=${setting%=*}
  echo "${setting#*=}" > "/run/${name#*/}"
  mount --bind "/run/${name#*/}" "/proc/sys/$name"
done
printf '127.0.0.1 localhost\n%s node1\n' "$address" > /run/hosts
mount --bind /run/hosts /etc/hosts
: > /run/resolv.conf
mount --bind /run/resolv.conf /etc/resolv.conf

ip link set lo up
ip link add node0 type bridge
ip address add "$address/24" dev node0
ip link set node0 up
ip route add "$services" dev node0 src "$address"
sysctl -qw net.ipv4.ip_forward=1

cd "$FOLDER"
certificate() { # NAME SUBJECT
  openssl req -newkey rsa:2048 -nodes -keyout "pki/$1.key" -out "pki/$1.csr" -subj "$2" 2> /dev/null
  openssl x509 -req -in "pki/$1.csr" -CA pki/ca.crt -CAkey pki/ca.key -CAcreateserial \
    -out "pki/$1.crt" -days 2 -extfile <(printf 'subjectAltName=IP:127.0.0.1,IP:%s,IP:10.0.0.1,DNS:localhost,DNS:node1,DNS:kubernetes.default.svc\nextendedKeyUsage=serverAuth,clientAuth' "$address") 2> /dev/null
}
openssl genrsa -out pki/sa.key 2048 2> /dev/null
openssl rsa -in pki/sa.key -pubout -out pki/sa.pub 2> /dev/null
openssl req -x509 -newkey rsa:2048 -nodes -keyout pki/ca.key -out pki/ca.crt -subj /CN=e2e-ca -days 2 2> /dev/null
certificate apiserver /CN=kube-apiserver
certificate admin /O=system:masters/CN=admin
certificate controller-manager /CN=system:kube-controller-manager
certificate scheduler /CN=system:kube-scheduler
certificate proxy /CN=system:kube-proxy
certificate kubelet /O=system:nodes/CN=system:node:node1
certificate kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client
for user in admin controller-manager scheduler proxy kubelet; do
  cat > "$user.kubeconfig" << Y
apiVersion: v1
kind: Config
clusters: [{name: node, cluster: {server: "https://$address:$port", certificate-authority: $FOLDER/pki/ca.crt}}]
users: [{name: user, user: {client-certificate: $FOLDER/pki/$user.crt, client-key: $FOLDER/pki/$user.key}}]
contexts: [{name: node, context: {cluster: node, user: user}}]
current-context: node
Y
done
kubectl="$bin/kubectl --kubeconfig=admin.kubeconfig"

"$bin/etcd" --data-dir etcd --listen-client-urls http://127.0.0.1:2379 \
  --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380 \
  --initial-advertise-peer-urls http://127.0.0.1:2380 --initial-cluster default=http://127.0.0.1:2380 \
  --unsafe-no-fsync --log-level warn > log/etcd.log 2>&1 &
"$bin/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 --secure-port=$port --bind-address=0.0.0.0 \
  --advertise-address=$address --service-cluster-ip-range=$services --tls-cert-file=pki/apiserver.crt \
  --tls-private-key-file=pki/apiserver.key --client-ca-file=pki/ca.crt \
  --kubelet-client-certificate=pki/kubelet-client.crt --kubelet-client-key=pki/kubelet-client.key \
  --service-account-key-file=pki/sa.pub --service-account-signing-key-file=pki/sa.key \
  --service-account-issuer=https://kubernetes.default.svc --authorization-mode=Node,RBAC \
  --allow-privileged=true \
  --enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement > log/kube-apiserver.log 2>&1 &

cat > conf/10-bridge.conflist << Y
{"cniVersion":"1.0.0","name":"pods","plugins":[{"type":"bridge","bridge":"cni0","isGateway":true,"ipMasq":false,"hairpinMode":true,"ipam":{"type":"host-local","dataDir":"/run/cni","ranges":[[{"subnet":"10.201.0.0/24"}]],"routes":[{"dst":"0.0.0.0/0"}]}}]}
Y
cat > conf/containerd.toml << Y
version = 3
root = "$FOLDER/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "registry.k8s.io/pause:3.10"
[plugins."io.containerd.cri.v1.runtime"]
  # Some machines do not grant CAP_SYS_RESOURCE.
  restrict_oom_score_adj = true
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
        BinaryName = "$(command -v runc)"
        SystemdCgroup = false
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["$PROGRAMS/cni"]
    conf_dir = "$FOLDER/conf"
Y
export PATH=$bin:$PATH
containerd -c conf/containerd.toml > log/containerd.log 2>&1 &
socket=/run/containerd/containerd.sock
for _ in $(seq 200); do
  ctr -a $socket version > /dev/null 2>&1 && break
  sleep 0.1
done
for image in "$PROGRAMS"/images/*.tar; do
  ctr -a $socket -n k8s.io images import "$image"
done
for _ in $(seq 400); do
  $kubectl get --raw /readyz > /dev/null 2>&1 && break
  sleep 0.1
done
"$bin/kube-controller-manager" --kubeconfig=controller-manager.kubeconfig --use-service-account-credentials \
  --service-account-private-key-file=pki/sa.key --root-ca-file=pki/ca.crt --bind-address=127.0.0.1 \
  --leader-elect=false > log/kube-controller-manager.log 2>&1 &
"$bin/kube-scheduler" --kubeconfig=scheduler.kubeconfig --bind-address=127.0.0.1 --leader-elect=false \
  > log/kube-scheduler.log 2>&1 &
cat > conf/kubelet.yaml << Y
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: /$CGROUP
containerRuntimeEndpoint: unix://$socket
address: $address
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $FOLDER/pki/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $FOLDER/pki/kubelet.crt
tlsPrivateKeyFile: $FOLDER/pki/kubelet.key
resolvConf: /run/resolv.conf
failSwapOn: false
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 50Mi, nodefs.available: "0%", imagefs.available: "0%", nodefs.inodesFree: "0%"}
volumePluginDir: $FOLDER/kubelet/volplugins
Y
# Restarted whenever it ends, since a test kills it.
(
  while :; do
    kubelet --config=conf/kubelet.yaml --kubeconfig=kubelet.kubeconfig --node-ip=$address \
      --hostname-override=node1 --cert-dir="$FOLDER/kubelet/pki" >> log/kubelet.log 2>&1 || true
    sleep 1
  done
) &
cat > conf/proxy.yaml << Y
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $FOLDER/proxy.kubeconfig}
mode: nftables
clusterCIDR: 10.201.0.0/24
hostnameOverride: node1
bindAddress: $address
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
Y
$kubectl create clusterrolebinding kube-proxy --clusterrole=system:node-proxier --user=system:kube-proxy > /dev/null
kube-proxy --config=conf/proxy.yaml > log/kube-proxy.log 2>&1 &
for _ in $(seq 600); do
  ready=$($kubectl get node node1 -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}' 2> /dev/null || true)
  [ "$ready" = True ] && break
  sleep 0.1
done
[ "$ready" = True ]
for _ in $(seq 300); do
  $kubectl -n default get serviceaccount default > /dev/null 2>&1 && break
  sleep 0.1
done
touch ready
# As the first process, it reaps orphaned processes and keeps running.
trap 'exit 0' TERM
while :; do wait -n 2> /dev/null || sleep 1; done
