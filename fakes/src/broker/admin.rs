//! The few administrative requests that a stack needs, in Kafka's own protocol over mutual TLS: a
//! Java tool would take two seconds for each. The only file here that names `kafka_protocol`.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::create_acls_request::{AclCreation, CreateAclsRequest};
use kafka_protocol::messages::create_topics_request::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use kafka_protocol::messages::delete_acls_request::{DeleteAclsFilter, DeleteAclsRequest};
use kafka_protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use kafka_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use kafka_protocol::messages::{MetadataResponse, RequestHeader, ResponseHeader, TopicName};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use kafka_protocol::{ResponseError, error::ParseResponseErrorCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::rights::{Operation, Resource, Right};
use crate::authority::Credentials;
use crate::error::StackError;
use crate::{tls, wait};

/// Versions that Kafka 4.3 speaks and that carry what is needed here.
const METADATA: i16 = 12;
const CREATE_TOPICS: i16 = 7;
const DELETE_TOPICS: i16 = 6;
const CREATE_ACLS: i16 = 3;
const DELETE_ACLS: i16 = 3;
const ALTER_CONFIGS: i16 = 1;
/// Kafka's numbers for a topic, for "set" and for "allowed".
const TOPIC: i8 = 2;
const SET: i8 = 0;
const ALLOW: i8 = 3;
/// The broker's own deadline for an administrative request.
const TIMEOUT_MS: i32 = 30_000;
/// How long one request may take as seen from here; a little more than the broker's own deadline.
const PATIENCE: Duration = Duration::from_secs(35);
/// A response larger than this is no response to what is asked here.
const RESPONSE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A topic to be made.
#[derive(Debug, Clone)]
pub struct NewTopic {
    /// The full name.
    pub name: String,
    /// The number of partitions.
    pub partitions: i32,
    /// The settings as Kafka names them.
    pub settings: Vec<(&'static str, &'static str)>,
}

/// A connection of an administrator.
#[derive(Debug)]
pub struct Admin {
    stream: TlsStream<TcpStream>,
    correlation: i32,
}

impl Admin {
    /// Connects to a broker on this machine.
    pub async fn connect(port: u16, own: &Credentials) -> Result<Self, StackError> {
        let config = tls::showing(own)?;
        let doing = |source| {
            let what = format!("cannot connect to Kafka on port {port}");
            StackError::System { what, source }
        };
        let stream = TcpStream::connect((tls::HOST, port)).await.map_err(doing)?;
        let connector = TlsConnector::from(Arc::new(config));
        let stream = connector.connect(tls::server_name(), stream).await.map_err(doing)?;
        Ok(Self { stream, correlation: 0 })
    }

    /// Returns how many brokers the cluster has.
    pub async fn brokers(&mut self) -> Result<usize, StackError> {
        let request = MetadataRequest::default().with_topics(Some(Vec::new()));
        let cluster = self.call(METADATA, &request).await?;
        if cluster.brokers.is_empty() {
            return Err(StackError::wrong("no broker is registered yet"));
        }
        Ok(cluster.brokers.len())
    }

    /// Makes the topics that are absent and returns once every partition has a leader.
    pub async fn create_topics(&mut self, topics: &[NewTopic]) -> Result<(), StackError> {
        let wanted = topics.iter().map(creatable).collect();
        let request =
            CreateTopicsRequest::default().with_topics(wanted).with_timeout_ms(TIMEOUT_MS);
        for made in self.call(CREATE_TOPICS, &request).await?.topics {
            match made.error_code.err() {
                None | Some(ResponseError::TopicAlreadyExists) => {}
                Some(error) => {
                    let (name, said) = (made.name.as_str(), said(made.error_message.as_ref()));
                    let what = format!("topic {name} cannot be made: {error:?}{said}");
                    return Err(StackError::Wrong(what));
                }
            }
        }
        let names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
        self.wait_for_leaders(&names).await
    }

    /// Deletes the topics; one that is gone already is no error.
    pub async fn delete_topics(&mut self, names: &[String]) -> Result<(), StackError> {
        let state = |name: &String| DeleteTopicState::default().with_name(Some(topic_name(name)));
        let request = DeleteTopicsRequest::default()
            .with_topics(names.iter().map(state).collect())
            .with_timeout_ms(TIMEOUT_MS);
        for gone in self.call(DELETE_TOPICS, &request).await?.responses {
            match gone.error_code.err() {
                None | Some(ResponseError::UnknownTopicOrPartition) => {}
                Some(error) => {
                    return Err(StackError::wrong(format!("topic cannot be deleted: {error:?}")));
                }
            }
        }
        Ok(())
    }

    /// Grants the rights; one that is granted already stays as it is.
    pub async fn grant(&mut self, rights: &[Right]) -> Result<(), StackError> {
        let creations = rights.iter().map(creation).collect();
        let request = CreateAclsRequest::default().with_creations(creations);
        let results = self.call(CREATE_ACLS, &request).await?.results;
        for (right, result) in rights.iter().zip(results) {
            if let Some(error) = result.error_code.err() {
                let said = said(result.error_message.as_ref());
                return Err(StackError::wrong(format!(
                    "{} cannot be given a right on {}: {error:?}{said}",
                    right.principal, right.name
                )));
            }
        }
        Ok(())
    }

    /// Takes the rights away; one that nobody has is no error.
    pub async fn revoke(&mut self, rights: &[Right]) -> Result<(), StackError> {
        let filters = rights.iter().map(filter).collect();
        let request = DeleteAclsRequest::default().with_filters(filters);
        for result in self.call(DELETE_ACLS, &request).await?.filter_results {
            if let Some(error) = result.error_code.err() {
                let said = said(result.error_message.as_ref());
                let what = format!("a right cannot be taken away: {error:?}{said}");
                return Err(StackError::Wrong(what));
            }
        }
        Ok(())
    }

    /// Sets one setting of a topic and leaves the others as they are.
    pub async fn set(&mut self, topic: &str, name: &str, value: &str) -> Result<(), StackError> {
        let text = |text: &str| StrBytes::from_string(text.to_owned());
        let setting = AlterableConfig::default()
            .with_name(text(name))
            .with_config_operation(SET)
            .with_value(Some(text(value)));
        let resource = AlterConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text(topic))
            .with_configs(vec![setting]);
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        for result in self.call(ALTER_CONFIGS, &request).await?.responses {
            if let Some(error) = result.error_code.err() {
                let said = said(result.error_message.as_ref());
                let what = format!("{name} of {topic} cannot be set: {error:?}{said}");
                return Err(StackError::Wrong(what));
            }
        }
        Ok(())
    }

    async fn wait_for_leaders(&mut self, names: &[&str]) -> Result<(), StackError> {
        let wanted: BTreeSet<&str> = names.iter().copied().collect();
        let topic = |name: &&str| MetadataRequestTopic::default().with_name(Some(topic_name(name)));
        let request =
            MetadataRequest::default().with_topics(Some(names.iter().map(topic).collect()));
        wait::until("every partition has a leader", PATIENCE, async || {
            let seen = self.call(METADATA, &request).await.map_err(|error| error.chain())?;
            let led = led(&seen);
            match wanted.iter().find(|name| !led.contains(**name)) {
                Some(name) => Err(format!("{name} has none")),
                None => Ok(()),
            }
        })
        .await
        .map_err(StackError::foreign("the topics do not come up"))
    }

    async fn call<R: Request>(
        &mut self,
        version: i16,
        request: &R,
    ) -> Result<R::Response, StackError> {
        let failed = "Kafka did not answer";
        let answer = tokio::time::timeout(PATIENCE, self.exchange(version, request)).await;
        let answer = answer.map_err(StackError::foreign(failed))?;
        let mut answer = answer.map_err(StackError::foreign(failed))?;
        let odd = |error: anyhow::Error| {
            let what = "Kafka's answer cannot be read".to_owned();
            StackError::Foreign { what, source: error.into() }
        };
        ResponseHeader::decode(&mut answer, R::Response::header_version(version)).map_err(odd)?;
        R::Response::decode(&mut answer, version).map_err(odd)
    }

    async fn exchange<R: Request>(&mut self, version: i16, request: &R) -> io::Result<Bytes> {
        self.correlation += 1;
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation)
            .with_client_id(Some(StrBytes::from_static_str("fakes")));
        let mut frame = BytesMut::new();
        header.encode(&mut frame, R::header_version(version)).map_err(io::Error::other)?;
        request.encode(&mut frame, version).map_err(io::Error::other)?;
        let length = i32::try_from(frame.len()).map_err(io::Error::other)?;
        self.stream.write_i32(length).await?;
        self.stream.write_all(&frame).await?;
        self.stream.flush().await?;
        let length = usize::try_from(self.stream.read_i32().await?).unwrap_or(usize::MAX);
        if length > RESPONSE_BYTES_MAX {
            return Err(io::Error::other(format!("a response of {length} bytes")));
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer).await?;
        Ok(answer.into())
    }
}

fn led(seen: &MetadataResponse) -> BTreeSet<&str> {
    let ready = seen.topics.iter().filter(|topic| {
        topic.error_code == 0
            && !topic.partitions.is_empty()
            && topic.partitions.iter().all(|partition| partition.error_code == 0)
    });
    ready.filter_map(|topic| topic.name.as_ref().map(|name| name.as_str())).collect()
}

fn creatable(topic: &NewTopic) -> CreatableTopic {
    let configs = topic.settings.iter().map(|&(name, value)| {
        CreatableTopicConfig::default()
            .with_name(StrBytes::from_static_str(name))
            .with_value(Some(StrBytes::from_static_str(value)))
    });
    CreatableTopic::default()
        .with_name(topic_name(&topic.name))
        .with_num_partitions(topic.partitions)
        .with_replication_factor(1)
        .with_configs(configs.collect())
}

/// Returns Kafka's own numbers: ResourceType, PatternType, AclOperation.
fn numbers(right: &Right) -> (i8, i8, i8) {
    let (resource, pattern) = match right.resource {
        Resource::Topic => (TOPIC, 3),
        Resource::TopicsBeginning => (TOPIC, 4),
        Resource::GroupsBeginning => (3, 4),
    };
    let operation = match right.operation {
        Operation::Read => 3,
        Operation::Write => 4,
        Operation::Describe => 8,
    };
    (resource, pattern, operation)
}

fn creation(right: &Right) -> AclCreation {
    let (resource, pattern, operation) = numbers(right);
    AclCreation::default()
        .with_resource_type(resource)
        .with_resource_name(StrBytes::from_string(right.name.clone()))
        .with_resource_pattern_type(pattern)
        .with_principal(principal(right))
        .with_host(StrBytes::from_static_str("*"))
        .with_operation(operation)
        .with_permission_type(ALLOW)
}

fn filter(right: &Right) -> DeleteAclsFilter {
    let (resource, pattern, operation) = numbers(right);
    DeleteAclsFilter::default()
        .with_resource_type_filter(resource)
        .with_resource_name_filter(Some(StrBytes::from_string(right.name.clone())))
        .with_pattern_type_filter(pattern)
        .with_principal_filter(Some(principal(right)))
        .with_host_filter(Some(StrBytes::from_static_str("*")))
        .with_operation(operation)
        .with_permission_type(ALLOW)
}

fn principal(right: &Right) -> StrBytes {
    StrBytes::from_string(format!("User:{}", right.principal))
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

fn said(message: Option<&StrBytes>) -> String {
    message.map(|message| format!(" ({})", message.as_str())).unwrap_or_default()
}
