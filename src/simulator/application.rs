//! What a tenant's application may prove itself by. A test changes it while the simulator runs, as an
//! administrator does.

/// The credentials that are registered for an application.
#[derive(Clone, Debug, Default)]
pub struct Application {
    /// Client secrets, each as good as the others: while one is exchanged, there are two.
    pub secrets: Vec<String>,
    /// Certificates in PEM, of which an application signs its assertions.
    pub certificates: Vec<String>,
    /// Whose tokens are taken in place of a secret.
    pub federated: Vec<FederatedCredential>,
}

/// A token of another issuer that stands for the application: all three claims have to be these.
#[derive(Clone, Debug)]
pub struct FederatedCredential {
    /// `iss`.
    pub issuer: String,
    /// `sub`.
    pub subject: String,
    /// `aud`.
    pub audience: String,
    /// A certificate in PEM with the public key of the issuer.
    pub certificate: String,
}
