//! What a request asks for besides a certificate of its key.
//! In: a parsed request, the identity that is permitted. Out: what is too much or lacking, in words. Pure.
//! Spec: RFC 2986 section 4, RFC 5280 section 4.2.1.6; Istio's node proxies and agents write nothing else.

use ambit_model::SpiffeId;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::extensions::{GeneralName, ParsedExtension, SubjectAlternativeName};
use x509_parser::x509::X509Name;

/// Whether `id` is all that the request asks for.
pub(super) fn only(request: &X509CertificationRequest<'_>, id: &SpiffeId) -> Result<(), String> {
    let info = &request.certification_request_info;
    if !is_nobody(&info.subject) {
        return Err(format!("the subject `{}`", info.subject));
    }
    let mut found = None;
    for attribute in info.iter_attributes() {
        let ParsedCriAttribute::ExtensionRequest(requested) = attribute.parsed_attribute() else {
            return Err(format!("the attribute {}", attribute.oid));
        };
        for extension in &requested.extensions {
            let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension()
            else {
                return Err(format!("the extension {}", extension.oid));
            };
            if found.replace(names).is_some() {
                return Err("several lists of names".to_owned());
            }
        }
    }
    names(found, id)
}

fn names(found: Option<&SubjectAlternativeName<'_>>, id: &SpiffeId) -> Result<(), String> {
    match found.map(|names| &names.general_names[..]) {
        None | Some([]) => Err("no name".to_owned()),
        Some([GeneralName::URI(uri)]) if *uri == id.to_string() => Ok(()),
        Some([name]) => Err(format!("the name {name}")),
        Some(names) => Err(format!("{} names", names.len())),
    }
}

/// No subject, or one that says nothing.
fn is_nobody(subject: &X509Name<'_>) -> bool {
    let organizations = subject.iter_organization().count();
    let is_empty = |organization: &x509_parser::x509::AttributeTypeAndValue<'_>| {
        organization.as_str().is_ok_and(str::is_empty)
    };
    subject.iter_attributes().count() == organizations && subject.iter_organization().all(is_empty)
}
