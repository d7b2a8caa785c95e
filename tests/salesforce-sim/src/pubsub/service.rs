//! The service as gRPC sees it. Subscriptions run in `subscribe.rs`.

use std::{pin::Pin, sync::Arc};

use futures::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Code, Request, Response, Status, Streaming};

use super::{
    admission::{self, SharedOrg},
    proto::{
        FetchRequest, FetchResponse, ManagedFetchRequest, ManagedFetchResponse, PublishRequest, PublishResponse,
        SchemaInfo, SchemaRequest, TopicInfo, TopicRequest, pub_sub_server::PubSub,
    },
    status::{invalid, status},
    subscribe::Subscription,
};

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[derive(Debug, Clone)]
pub(crate) struct Service {
    org: SharedOrg,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Service {
    pub(crate) fn new(org: SharedOrg, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self { org, tasks, stop }
    }
}

fn no_publishing(rpc_id: &str) -> Status {
    status(
        Code::PermissionDenied,
        "publish.topic.cannot.publish",
        "Change events can't be published: they come from changes of records.",
        rpc_id,
    )
}

#[tonic::async_trait]
impl PubSub for Service {
    type SubscribeStream = Answers<FetchResponse>;
    type PublishStreamStream = Answers<PublishResponse>;
    type ManagedSubscribeStream = Answers<ManagedFetchResponse>;

    async fn subscribe(
        &self,
        request: Request<Streaming<FetchRequest>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let admitted = admission::admit(&self.org, request.metadata(), "Subscribe")?;
        let (answers, outgoing) = mpsc::channel(1);
        let subscription = Subscription::new(Arc::clone(&self.org), admitted, answers);
        self.tasks
            .spawn(subscription.run(request.into_inner(), self.stop.clone()));
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
    }

    async fn get_schema(&self, request: Request<SchemaRequest>) -> Result<Response<SchemaInfo>, Status> {
        let admitted = admission::admit(&self.org, request.metadata(), "GetSchema")?;
        let wanted = request.into_inner().schema_id;
        if wanted.is_empty() {
            return Err(invalid(
                "schema.validation.failed",
                "The schema ID is empty.",
                &admitted.rpc_id,
            ));
        }
        let refused = self.org.faults.values().refused_schemas.get(&wanted).cloned();
        if let Some(suffix) = refused {
            let message = format!("The schema {wanted} is refused (ordered by a test).");
            return Err(status(Code::InvalidArgument, &suffix, &message, &admitted.rpc_id));
        }
        let mangled = self.org.faults.values().mangled_schemas.contains(&wanted);
        let state = self.org.state();
        let schema = state
            .schemas
            .iter()
            .find(|schema| *schema.id == *wanted)
            .ok_or_else(|| {
                status(
                    Code::NotFound,
                    "schema.not.found",
                    &format!("The schema {wanted} is not found."),
                    &admitted.rpc_id,
                )
            })?;
        Ok(Response::new(SchemaInfo {
            schema_json: if mangled {
                "{\"type\":\"record\"".to_owned()
            } else {
                schema.json.to_string()
            },
            schema_id: schema.id.to_string(),
            rpc_id: admitted.rpc_id,
        }))
    }

    async fn get_topic(&self, request: Request<TopicRequest>) -> Result<Response<TopicInfo>, Status> {
        let admitted = admission::admit(&self.org, request.metadata(), "GetTopic")?;
        let name = request.into_inner().topic_name;
        admission::topic(&self.org, &name, &admitted.rpc_id)?;
        let state = self.org.state();
        Ok(Response::new(TopicInfo {
            topic_name: name,
            tenant_guid: format!("core/prod/{}", state.org_id),
            can_publish: false,
            can_subscribe: true,
            schema_id: state.schema().id.to_string(),
            rpc_id: admitted.rpc_id,
        }))
    }

    async fn publish(&self, request: Request<PublishRequest>) -> Result<Response<PublishResponse>, Status> {
        let admitted = admission::admit(&self.org, request.metadata(), "Publish")?;
        Err(no_publishing(&admitted.rpc_id))
    }

    async fn publish_stream(
        &self,
        request: Request<Streaming<PublishRequest>>,
    ) -> Result<Response<Self::PublishStreamStream>, Status> {
        let admitted = admission::admit(&self.org, request.metadata(), "PublishStream")?;
        Err(no_publishing(&admitted.rpc_id))
    }

    async fn managed_subscribe(
        &self,
        request: Request<Streaming<ManagedFetchRequest>>,
    ) -> Result<Response<Self::ManagedSubscribeStream>, Status> {
        admission::admit(&self.org, request.metadata(), "ManagedSubscribe")?;
        Err(Status::unimplemented("the simulator has no managed subscriptions"))
    }
}
