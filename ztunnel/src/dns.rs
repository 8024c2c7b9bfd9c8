//! Node-local DNS for captured pods.
//! In: queries on the pod's listeners (UDP, TCP) and captured TCP to a nameserver. Out: answers for
//! names of the mesh, from the snapshot; everything else from the nameserver the pod asked, asked
//! from the pod's own namespace.
//! Must not: cache; answer for names the mesh does not know; read hostile bytes other than through
//! the decoder.
//! Spec: RFC 1035, RFC 7766 (TCP), RFC 6891 (EDNS); names as Istio's node proxy resolves them.

pub mod forward;
pub mod lookup;
pub mod message;
pub mod server;
